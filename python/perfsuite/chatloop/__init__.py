"""The chat loop of the guide, and its parts for a service of one's own.

monitor.py     PerformanceMonitor: operations timed, dashboard data     timed.py       one run of an operation
operations.py  the operations of a turn, and what is expected of them   alerts.py      who is told of what
regression.py  against a baseline                                       debug.py       a slow operation in detail
resources.py   memory, CPU and disk of this process                     forking.py     locks for forked children
config.py      settings, presets, variables                             loop.py        ChatLoop: a turn, and its hooks
sanitizing.py  what a message may be                                    context.py     what is looked up for it
model.py       what a model gives                                       tools.py       what the model asks for
profiling.py   a table of functions, a flame graph
calls.py       calls with a deadline, plain and async                   workers.py     the threads that they run in
"""
