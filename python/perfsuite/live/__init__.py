"""What is measured, as a page to look at while it is: charts that move, over HTTP, from a thread of its own.

``board`` keeps what is shown, ``picture`` takes it from a load's own histograms and windows, ``web`` serves it,
``page`` draws it, ``opening`` says where it may listen, and ``showing`` puts them together for a run.
"""
