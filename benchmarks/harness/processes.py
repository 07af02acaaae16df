"""A child process that answers each line of its standard input by a line of JSON."""

import concurrent.futures
import contextlib
import json
import os
import subprocess
import sys
import time


class NoAnswerError(Exception):
    """The reason why a child process gave no answer."""


class Child:
    """The parent's side: starts the child, writes requests, reads answers.

    Parameters
    ----------
    command : list of str
        Arguments of the Python interpreter.
    environment : dict of str
    folder : path
        Working directory.
    """

    def __init__(self, command, environment, folder):
        self.process = subprocess.Popen(
            [sys.executable, *command],
            env=environment,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def ask(self, question, limit=600.0):
        """Write a line, and return the answer, which must come within `limit` seconds."""
        with contextlib.suppress(OSError):  # if the child has died, there is no answer either
            self.process.stdin.write(question + "\n")
            self.process.stdin.flush()
        return self.answer(limit, time.perf_counter())

    def answer(self, limit, start):
        """Return the next answer. Kill the child if none comes within `limit` seconds of `start`.

        Raises
        ------
        NoAnswerError
            With the child's error, or with the exit code of a child that has ended.
        """
        with concurrent.futures.ThreadPoolExecutor(1) as reader:
            line = reader.submit(self.process.stdout.readline)
            try:
                answer = json.loads(line.result(start + limit - time.perf_counter()) or "{}")
            except TimeoutError:
                answer = {"error": f"no result in {limit:.0f} s"}
                self.process.kill()  # ends the reader's wait
        if not answer or "error" in answer:
            self.close()
            code = self.process.returncode
            raise NoAnswerError(answer.get("error", f"its process ended with code {code}"))
        return answer

    def close(self):
        """End the process, if it has not ended yet."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):  # the last question may be unread
                pipe.close()


def serve(answers_of, *arguments):
    """Run the child's side: write each item of ``answers_of(*arguments)`` as a line of JSON.

    Answers go to standard output. All other output goes to standard error. An error is the last
    answer.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        for answer in answers_of(*arguments):
            print(json.dumps(answer), file=answers, flush=True)
    except Exception as error:
        text = f"{type(error).__name__}: {error}".splitlines()[0]
        print(json.dumps({"error": text}), file=answers, flush=True)
