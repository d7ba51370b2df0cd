DROP FUNCTION opscase_look(text, bigint, uuid);
