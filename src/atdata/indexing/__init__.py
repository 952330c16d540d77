"""What is recorded of a dataset when it is inserted or published."""
