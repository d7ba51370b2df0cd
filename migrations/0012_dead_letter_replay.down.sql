DROP INDEX ix_dead_letter_list;
ALTER TABLE dead_letter DROP COLUMN replayed_by;
