"""The manual page, put together from what the program's own help says."""

from __future__ import annotations

import re
import time
from pathlib import Path

from program import commands, help_of
from release import NAME, SUMMARY, moment, run, version

#: what the shells call a file of completions
FILES = {"bash": NAME, "zsh": f"_{NAME}", "fish": f"{NAME}.fish"}


def completions(program: Path) -> dict[str, str]:
    """The shells that the program completes for, each with the name that it wants for its file."""
    known = help_of(program, "completions")
    return {shell: file for shell, file in FILES.items() if shell in known}


def page(program: Path) -> str:
    day = time.strftime("%Y-%m-%d", time.gmtime(moment()))
    text = help_of(program)
    sections = Sections(text)
    lines = [
        f'.TH {NAME.upper()} 1 "{day}" "{NAME} {version()}"',
        ".SH NAME", f"{NAME} \\- {escape(SUMMARY[0].lower() + SUMMARY[1:].rstrip('.'))}",
        ".SH SYNOPSIS", *(f".B {escape(line.removeprefix('Usage: '))}" for line in sections.usage),
        ".SH DESCRIPTION", *prose(sections.description),
        ".SH COMMANDS",
    ]
    for command in commands(program):
        own = Sections(help_of(program, command))
        lines += [f".SS {escape(command)}", *(f".B {escape(line.removeprefix('Usage: '))}" for line in own.usage)]
        lines += [".PP", *prose(own.description)]
        if command != "serve":
            lines += options(own.options)
    lines += [".SH OPTIONS OF SERVE", *options(sections.options), *prose(sections.rest)]
    return "\n".join(lines) + "\n"


class Sections:
    """The parts of a help text: usage, prose, lists of options under headings, and what stands behind them."""

    def __init__(self, text: str) -> None:
        paragraphs = [part for part in text.strip().split("\n\n") if part]
        self.usage = paragraphs.pop(0).splitlines()
        self.description: list[str] = []
        self.options: list[str] = []
        self.rest: list[str] = []
        for part in paragraphs:
            first = part.splitlines()[0]
            if first.startswith("Commands") or first == "Options of serve":
                continue
            if any(re.match(r"  --", line) for line in part.splitlines()):
                self.options.append(part)
            elif self.options:
                self.rest.append(part)
            else:
                self.description.append(part)


def prose(paragraphs: list[str]) -> list[str]:
    lines: list[str] = []
    for part in paragraphs:
        if part.startswith("  "):
            lines += [".PP", ".nf", *(escape(line) for line in part.splitlines()), ".fi"]
        else:
            lines += [".PP", *(escape(line) for line in part.splitlines())]
    return lines


def options(groups: list[str]) -> list[str]:
    lines: list[str] = []
    for group in groups:
        for line in group.splitlines():
            option = re.match(r"  (--\S+(?: [A-Z]+)?)\s+(.*)", line)
            if option:
                lines += [".TP", f".B {escape(option[1])}", escape(option[2])]
            elif line.startswith("  "):
                lines.append(escape(line.strip()))
            else:
                lines += [".PP", f".I {escape(line)}"]
    return lines


def escape(text: str) -> str:
    """Text as roff takes it: hyphens that can be copied, and no line that is a request."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text.startswith((".", "'")) else text
