"""Programs nobody has read, run where they can harm nothing. Linux, the standard library, no root, no set-up."""
