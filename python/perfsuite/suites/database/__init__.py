"""What is done to a database: created, looked up with and without each index, under concurrent workers."""
