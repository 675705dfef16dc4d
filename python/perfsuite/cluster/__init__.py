"""A load spread over several processes, on one machine or many, by Dask distributed.

``parts``, ``clocks``, ``snapshots``, ``merged`` and ``outcome`` know nothing of Dask; ``engine`` and ``spread`` do, and
import it where they use it.  ``home`` is what runs in a worker.
"""
