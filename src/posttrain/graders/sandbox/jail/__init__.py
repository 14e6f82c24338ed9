"""What the server process and its children load: one another and the standard library, nothing else of posttrain."""
