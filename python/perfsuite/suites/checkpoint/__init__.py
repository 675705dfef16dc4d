"""The checkpoint of a chat service: response times, tokens, memories; its database: ``suites/database``."""
