-- 0008 relay index: an event may be heard by hand before it is published; the others that listen still get it. Facts are
-- nobody's to do, so they need not be in the index of what is open.
DROP INDEX ix_outbox_unpublished;
CREATE INDEX ix_outbox_unpublished ON outbox (id) WHERE published_at IS NULL AND (done_at IS NULL OR kind = 'e');
DROP INDEX ix_outbox_open;
CREATE INDEX ix_outbox_open ON outbox (kind, topic, id) WHERE done_at IS NULL AND kind <> 'x';
-- What was done without ever being published is not news any more.
UPDATE outbox SET published_at = done_at WHERE kind = 'e' AND published_at IS NULL AND done_at IS NOT NULL;
