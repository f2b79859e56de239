"""Stage 2 of 6: turns an accepted request into prompts a model can run.

RequestAccepted → PromptAssembled (one per job) | JobFailed. Pure and stateless: everything it reads is pinned by
digest, so the same event gives the same bytes, on any machine, any number of times.
"""
