DROP INDEX ix_outbox_open;
CREATE INDEX ix_outbox_open ON outbox (kind, topic, id) WHERE done_at IS NULL;
DROP INDEX ix_outbox_unpublished;
CREATE INDEX ix_outbox_unpublished ON outbox (id) WHERE published_at IS NULL AND done_at IS NULL;
