"""A queue served by a multiprocessing manager: the master puts, slaves get and tell that they are done.

    manager_queue.py master SHAPE JOBS SLAVES    prints its port; begin and end around the jobs
    manager_queue.py slave PORT
"""

import queue
import sys
import threading
from multiprocessing.managers import BaseManager

from rows import maker_of

KEY = b"bench"
SIZE = 10_000


class QueueManager(BaseManager):
    pass


def master(shape, jobs, slaves):
    waiting = queue.Queue(maxsize=SIZE)
    joined = threading.Semaphore(0)

    def join():
        joined.release()
        return waiting

    QueueManager.register("get_queue", callable=join)
    server = QueueManager(address=("127.0.0.1", 0), authkey=KEY).get_server()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print("port", server.address[1], flush=True)
    for _ in range(slaves):
        joined.acquire()
    print("begin", flush=True)
    make = maker_of(shape)
    for number in range(jobs):
        waiting.put(make(number))
    waiting.join()
    print("end", flush=True)


def slave(port):
    QueueManager.register("get_queue")
    manager = QueueManager(address=("127.0.0.1", port), authkey=KEY)
    manager.connect()
    waiting = manager.get_queue()
    while True:
        waiting.get()
        waiting.task_done()


if __name__ == "__main__":
    if sys.argv[1] == "master":
        master(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    else:
        slave(int(sys.argv[2]))
