"""Puts the program, and its companion that can load libraries, into a wheel when whoever builds it says where they are;
without, the wheel is the client alone."""

import os

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Program(BuildHookInterface):
    def initialize(self, version, build_data):
        program = os.environ.get("MCP_SESSION_STORE_PROGRAM")
        if program and version == "standard":
            place = "mcp_session_store/_program/mcp-session-store"
            build_data["force_include"][program] = place
            build_data["force_include"][os.environ["MCP_SESSION_STORE_COMPANION"]] = f"{place}-dynamic"
            build_data["pure_python"] = False
            build_data["tag"] = "py3-none-" + os.environ["MCP_SESSION_STORE_WHEEL_PLATFORM"]
