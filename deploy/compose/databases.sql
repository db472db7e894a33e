-- Beside Dagster's database: the product's own tables. Read once, when the volume is new.
CREATE DATABASE campaign_sync;
