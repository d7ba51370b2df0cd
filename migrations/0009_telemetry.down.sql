DROP TABLE call_pending;
DROP TABLE tel_position;
