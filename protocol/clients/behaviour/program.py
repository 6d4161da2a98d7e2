"""The program of the scenarios: says given lines at given moments, and misbehaves as it is told.

    python3 -S program.py DIRECTORY [arguments of the store, which are ignored]

README.md beside this file says what the steps are.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time

#: seconds after which a wait has failed, and a process that hangs ends after all
PATIENCE = 60
LINE_BYTES = 16 << 20


class Program:
    def __init__(self, directory, steps, number):
        self.directory = directory
        self.steps = steps
        self.number = number
        self.requests = {}

    def run(self):
        self.do(self.steps)
        while self.line():
            pass

    def do(self, steps):
        for step in steps:
            name = next(iter(step))
            getattr(self, "do_" + name)(step[name], step)

    # What comes in and goes out

    def line(self):
        return sys.stdin.buffer.readline()

    def say(self, data):
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    def send(self, message):
        self.say(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    def fail(self, text):
        with open(os.path.join(self.directory, "failures"), "a", encoding="utf-8") as file:
            file.write(f"process {self.number + 1}: {text}\n")
        os._exit(99)

    # Steps

    def do_handshake(self, replaced, step):
        self.do_read("initialize", {"method": "initialize"})
        limits = {"max_line_bytes": LINE_BYTES, **replaced.get("limits", {})}
        answer = {
            "name": "scenario", "version": "1.0.0", "protocol_version": "1.0", "capabilities": [], "pid": os.getpid(),
            **replaced, "limits": limits,
        }
        self.send({"id": self.requests["initialize"]["id"], "result": answer})

    def do_read(self, name, step):
        line = self.line()
        if not line:
            self.fail(f"the input ended where {step} was expected")
        try:
            request = json.loads(line)
        except ValueError:
            self.fail(f"no JSON: {line[:200]!r}")
        for member in ("method", "params"):
            if member in step and request.get(member) != step[member]:
                self.fail(f"{member} is {request.get(member)!r}, expected was {step[member]!r}")
        self.requests[name] = request

    def do_answer(self, name, step):
        outcome = {member: step[member] for member in ("result", "error") if member in step}
        self.send({"id": self.requests[name]["id"], **outcome})

    def do_say(self, text, step):
        def replaced(match):
            kind, value = match.groups()
            if kind == "id":
                return json.dumps(self.requests[value]["id"])
            return "9" * int(value) if kind == "digits" else "[" * int(value) + "]" * int(value)

        text = re.sub(r"\{\{(id|digits|nested):(\w+)\}\}", replaced, text)
        self.say((text + step.get("end", "\n")).encode())

    def do_hex(self, text, step):
        self.say(bytes.fromhex(text))

    def do_notify(self, kind, step):
        self.send({"method": kind, "params": step["params"]})

    def do_serve(self, answers, step):
        count = step.get("count")
        while count is None or count > 0:
            line = self.line()
            if not line:
                return
            request = json.loads(line)
            answer = answers.get(request["method"], answers.get("*", {"result": {}}))
            if "exit" in answer or "kill" in answer:
                self.do([answer])
            if "error" in answer:
                self.send({"id": request["id"], "error": answer["error"]})
            elif "result" in answer:
                result = answer["result"]
                if result == "$request":
                    result = {"method": request["method"], "params": request.get("params")}
                elif result == "$length":
                    result = len(line.rstrip(b"\n"))
                self.send({"id": request["id"], "result": result})
            if count is not None:
                count -= 1

    def do_mark(self, name, step):
        open(os.path.join(self.directory, "marks", name), "w").close()

    def do_wait(self, name, step):
        end = time.monotonic() + PATIENCE
        while not os.path.exists(os.path.join(self.directory, "marks", name)):
            if time.monotonic() > end:
                self.fail(f"the mark '{name}' never came")
            time.sleep(0.002)

    def do_stderr(self, text, step):
        print(text, file=sys.stderr, flush=True)

    def do_ignore(self, names, step):
        for name in names:
            signal.signal(getattr(signal, name), signal.SIG_IGN)

    def do_close(self, name, step):
        os.close({"stdin": 0, "stdout": 1}[name])

    def do_grandchild(self, _, step):
        watch = f"import os, time\nwhile os.path.exists('/proc/{os.getppid()}'): time.sleep(0.05)"
        subprocess.Popen([sys.executable, "-S", "-c", watch], start_new_session=True)

    def do_exit(self, code, step):
        sys.stdout.flush()
        os._exit(code)

    def do_kill(self, name, step):
        os.kill(os.getpid(), getattr(signal, name))
        time.sleep(PATIENCE)

    def do_hang(self, _, step):
        end, parent = time.monotonic() + PATIENCE, os.getppid()
        while time.monotonic() < end and os.getppid() == parent:
            time.sleep(0.02)
        os._exit(0)


def main():
    if hasattr(sys, "set_int_max_str_digits"):
        sys.set_int_max_str_digits(0)
    directory = sys.argv[1]
    # Each start adds a line, which also says which process of the scenario this one is.
    starts = os.open(os.path.join(directory, "starts"), os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(starts, f"{os.getpid()}\n".encode())
    number = os.pread(starts, 1 << 20, 0).count(b"\n") - 1
    os.close(starts)
    with open(os.path.join(directory, "program.json"), encoding="utf-8") as file:
        processes = json.load(file)
    try:
        Program(directory, processes[min(number, len(processes) - 1)], number).run()
    except BrokenPipeError:
        os._exit(74)


if __name__ == "__main__":
    main()
