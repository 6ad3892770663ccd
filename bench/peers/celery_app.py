"""Celery on Redis: the application, and the producer when run as a program: celery_app.py SHAPE JOBS"""

import multiprocessing
import os
import sys

from celery import Celery
from celery.signals import worker_ready
from rows import maker_of

app = Celery("bench", broker=os.environ["BROKER"])
app.conf.task_ignore_result = True
app.conf.worker_prefetch_multiplier = 64

# made before the pool forks: all worker processes count in it
handled = multiprocessing.Value("q", 0)


@app.task
def handle(job):
    with handled.get_lock():
        handled.value += 1
        if handled.value == int(os.environ["JOBS"]):
            os.write(1, b"end\n")


@worker_ready.connect
def tell_ready(**_):
    os.write(1, b"ready\n")


if __name__ == "__main__":
    from celery_app import handle  # by the name under which the worker knows it

    make = maker_of(sys.argv[1])
    # connected, and its queue declared: the pool gives this one to every `delay`
    with handle.app.producer_pool.acquire(block=True) as producer:
        producer.connection.ensure_connection()
        producer.maybe_declare(handle.app.amqp.queues["celery"])
    os.write(1, b"begin\n")
    for number in range(int(sys.argv[2])):
        handle.delay(make(number))
