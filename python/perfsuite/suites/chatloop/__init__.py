"""The tests of the chat-loop guide, as probes: what is done to a chat loop, and the evidence it gives."""
