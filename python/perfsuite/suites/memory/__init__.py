"""What is done to a memory system: its latency by tier, its throughput under workers, what it holds as it grows."""
