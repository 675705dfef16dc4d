"""What is measured, as a page to look at while it is: charts that move, over HTTP.

``board`` keeps what is shown, ``picture`` takes it from a load's own histograms and windows, ``web`` serves it,
``page`` draws it, ``opening`` says where it may listen.  A run is shown by a process of its own (``apart``, ``child``),
so that nothing is served beside what is measured; ``showing`` tells it what is new.
"""
