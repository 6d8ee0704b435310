"""Run llama.cpp's own server (from the wheel xllamacpp).

`python llamacpp_server.py FILE.gguf [NAME PORT [THREADS]]` prints its address.
"""

from __future__ import annotations

import sys
import threading

import xllamacpp


def main() -> None:
    params = xllamacpp.CommonParams()
    params.model.path = sys.argv[1]
    name, port = sys.argv[2:4] or ("smollm2-q4", "0")
    threads = int(sys.argv[4]) if len(sys.argv) > 4 else 1  # more threads spin while they wait: slow on a busy machine
    params.model_alias = {name}
    params.n_ctx = 1024
    params.n_parallel = 2
    params.cpuparams.n_threads = threads
    params.hostnames = ["127.0.0.1"]
    params.port = int(port)
    params.warmup = False
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
