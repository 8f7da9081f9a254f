"""How the embedded suite was made: corpus, tasks, pretraining and evaluation, each one command."""
