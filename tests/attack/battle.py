"""One attack, or several at once, from its start to five seconds after its end."""

import multiprocessing
import os
import time

from witness import Witness
from world import STORE_BYTES_MAX, World

MEMORY_MIB_MAX = 300
# What an optimised build takes at rest. A development build takes more for its code, which is not the attack's doing.
REST_MIB = 30
# The store, the database, and what is arriving.
DISK_MIB_MAX = STORE_BYTES_MAX / 2**20 + 64
RECOVERY_SECONDS = 5
# An attacker's programs run elsewhere in the field, so here they get the processor last.
NICENESS = 15


def fight(attacks, seconds, slack):
    """Returns the figures and what is wrong."""
    world = World(attacks)
    try:
        return observe(world, attacks, seconds, slack)
    finally:
        world.stop()


def observe(world, attacks, seconds, slack):
    memory_max = MEMORY_MIB_MAX + max(0, world.proxy.resident_mib() - REST_MIB)
    witness = Witness(world, slack)
    witness.alone()
    for attack in attacks:
        attack.begin(world)
    witness.start()
    before = world.proxy.descriptors()
    attackers = [multiprocessing.Process(target=assault, args=(attack, world, seconds), daemon=True) for attack in attacks]
    for attacker in attackers:
        attacker.start()
    wrong, descriptors, deadline = [], before, time.monotonic() + seconds
    while time.monotonic() < deadline and world.proxy.is_running():
        descriptors = max(descriptors, world.proxy.descriptors())
        for attack in attacks:
            attack.watch(world)
        time.sleep(0.2)
    witness.stop()
    for attacker in attackers:
        attacker.join(timeout=10)
        attacker.kill()
    if not world.proxy.is_running():
        return "", ["the proxy has ended"]
    time.sleep(RECOVERY_SECONDS)
    figures, wrong = witness.findings()
    wrong += recovery(world, witness, before)
    peak, disk = world.proxy.resident_mib("VmHWM"), world.proxy.disk_mib()
    if peak > memory_max:
        wrong.append(f"the peak of resident memory is {peak:.0f} MiB, allowed {memory_max:.0f}")
    if disk > DISK_MIB_MAX:
        wrong.append(f"{disk:.0f} MiB are on disk, allowed {DISK_MIB_MAX:.0f}")
    for attack in attacks:
        wrong += attack.findings(world)
    figures += f", {descriptors} descriptors, {peak:.0f} MiB at the peak, {disk:.0f} MiB on disk"
    return figures, wrong


def recovery(world, witness, descriptors):
    """Returns what is not as before, some seconds after the attack."""
    wrong = []
    status, seconds = world.proxy.status(world.good_path("warm"))
    if status != 200 or seconds > 1 * witness.slack:
        wrong.append(f"a warm pull after the attack: {status} after {seconds:.2f} s")
    status, seconds = witness.pull_cold()
    if status != 200 or seconds > witness.cold_max():
        wrong.append(f"a cold pull after the attack: {status} after {seconds:.2f} s")
    status, seconds = world.proxy.status("/readyz", admin=True)
    if status != 200:
        wrong.append(f"/readyz after the attack: {status}")
    if world.proxy.descriptors() > descriptors + 200:
        wrong.append(f"{world.proxy.descriptors()} descriptors are open after the attack, {descriptors} were before")
    return wrong


def assault(attack, world, seconds):
    os.nice(NICENESS)
    try:
        attack.assault(world, time.monotonic() + seconds)
    except (KeyboardInterrupt, OSError):
        pass
