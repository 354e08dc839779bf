"""The model of `evenkeel bench engine` in SimPy (MIT): see src/main.rs. `simpy_p2c.py SERVERS REQUESTS SEED` prints JSON.

A request is a process that waits for its server, a `simpy.Resource`, and for its service.
"""

import json
import random
import sys
import time

import simpy

LOAD = 0.9


def main():
    servers, requests, seed = (int(text) for text in sys.argv[1:4])
    dice = random.Random(seed)
    env = simpy.Environment()
    slots = [simpy.Resource(env, capacity=1) for _ in range(servers)]
    inside = [0] * servers
    total = {"sojourns": 0.0, "busy": 0.0, "left": 0}

    def request():
        first = dice.randrange(servers)
        second = first
        if servers > 1:
            second = dice.randrange(servers - 1)
            second += second >= first
        server = second if inside[second] < inside[first] else first
        inside[server] += 1
        since = env.now
        with slots[server].request() as slot:
            yield slot
            span = dice.expovariate(1.0)
            total["busy"] += span
            yield env.timeout(span)
        inside[server] -= 1
        total["sojourns"] += env.now - since
        total["left"] += 1

    def arrivals():
        for _ in range(requests):
            env.process(request())
            yield env.timeout(dice.expovariate(LOAD * servers))

    env.process(arrivals())
    start = time.perf_counter_ns()
    env.run()
    nanos = time.perf_counter_ns() - start
    print(
        json.dumps(
            {
                "requests": total["left"],
                "sojourn": total["sojourns"] / total["left"],
                "utilisation": total["busy"] / env.now / servers,
                "nanos": nanos,
            }
        )
    )


main()
