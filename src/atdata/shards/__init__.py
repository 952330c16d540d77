"""A tar file as samples."""
