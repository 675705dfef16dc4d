"""The reference chat system behind the APIs of chat servers, with stated delays, and the truth on the wire.

options.py      what a server is asked to be        faults.py       how it misbehaves on request
http.py         requests, parsed within bounds      connection.py   one socket: stamps, TLS, back-pressure
stamps.py       the kernel's stamps of packets      truth.py        when each request came, when each token left
listening.py    sockets accepted                    pacer.py        one heap and one timer for all
paced.py        streams of fixed delays             standin.py      a stand-in for memory systems' models
standin_counts.py, standin_wire.py                   its counts; its requests and answers
canned.py       what the stand-in says
chatting.py     the reference system's answers      answering.py    answers that may misbehave
dialect.py      what a dialect is; openai_chat.py, openai_responses.py, anthropic.py, ollama.py are those there are
server.py       routes and life                     pages.py        health, models, metrics, the truth
exchange.py     one request under way               tls.py          a certificate for the run
prompts.py      tokens of prompts, and the prompt cache's share
"""
