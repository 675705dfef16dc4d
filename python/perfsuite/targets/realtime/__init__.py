"""Services that speak over a WebSocket, in events as OpenAI's realtime API has them."""
