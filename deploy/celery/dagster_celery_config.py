"""Settings of the Celery workers. `dagster_celery.app` imports a module of this name, if it finds one on the path."""

import os

broker_url = os.environ["CAMPAIGN_SYNC_CELERY_BROKER"]
result_backend = os.environ["CAMPAIGN_SYNC_CELERY_BACKEND"]

# One run at a time, each in a process of its own: it reads the configuration anew and gives its memory back.
worker_concurrency = 1
worker_max_tasks_per_child = 1

# A worker takes a run when it can begin with it, and leaves it to another one until then.
worker_prefetch_multiplier = 1
worker_disable_prefetch = True

# Without it a run in progress looks to the daemon like one that no worker has, and the daemon fails it.
task_track_started = True

# Results are only asked for while a run is in progress.
result_expires = 86400

broker_connection_retry_on_startup = True
