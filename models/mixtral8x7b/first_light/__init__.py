"""What an owner of chips runs on the first day: `./mixtral first-light` (docs/first_light.md).

    flow -> runner -> child, a process for each step -> the steps' own files -> tt

Nothing but the steps' own files imports torch or ttnn, and those only in the child.
"""
