"""Building blocks of every process, whichever package it runs: tasks, retries, errors, traces, machine resources."""
