DROP TABLE IF EXISTS llm_certificate;
