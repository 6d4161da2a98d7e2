# Made by protocol/clients/generate from protocol/openrpc.json.
"""The version of this package and of the program that belongs to it."""

__version__ = "0.1.0"
