"""What a streamed attribution keeps of every write's shares."""
