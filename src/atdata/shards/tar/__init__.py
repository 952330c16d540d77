"""A tar as members: headers found, checked and grouped into samples."""
