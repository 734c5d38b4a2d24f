"""Studies: questions with a protocol, cells that can be resumed, and a page that is made from their lines."""
