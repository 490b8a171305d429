"""The same upstream call done by other job queues, each as its documentation says, in a venv of their own.

The files named `*_jobs` run there and import nothing of ours but `call`.
"""
