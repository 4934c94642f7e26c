"""The Python client: versions read, compared and made without a mount."""
