-- 0012 dead letter replay: who sent it on its way again.
ALTER TABLE dead_letter ADD COLUMN replayed_by text;
CREATE INDEX ix_dead_letter_list ON dead_letter (tenant_id, id);
