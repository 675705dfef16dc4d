"""An embedded chat system with memory: real software, of which only the language model is simulated.

store.py         users, sessions, messages, memories, agent logs and archives in SQLite
journal.py       what is durable before the database is synced
memory.py        hot, warm and cold memories, and their ranking by embeddings
rows.py          a memory as a row, and as a record of the journal
retrieval.py     which of them a question's words point to, by full text
ranking.py       which of those are about it, and which hold
embedding.py     hashed n-grams, and the cache in front of them
context.py       what goes into a prompt, within a budget of tokens
counter.py       the system's token counter         tokenizer.py  the model's own, which it is held against
model.py         the simulated models               agents.py     planner, memory, responder
configuration.py its settings                       system.py     all of it together
"""
