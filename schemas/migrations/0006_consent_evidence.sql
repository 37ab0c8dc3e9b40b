-- What a record of consent has to show besides (ISO/IEC TS 27560, GDPR article 7): in which language something
-- was shown, and by which client. `request_id` is the caller's id of the change: sent again, it is recorded once.
ALTER TABLE consent_changes
    ADD COLUMN IF NOT EXISTS request_id UUID,
    ADD COLUMN IF NOT EXISTS language LowCardinality(String),
    ADD COLUMN IF NOT EXISTS client_name LowCardinality(String),
    ADD COLUMN IF NOT EXISTS client_version LowCardinality(String),
    ADD COLUMN IF NOT EXISTS platform LowCardinality(String);

-- A projection has the columns that the table had when it was made.
ALTER TABLE consent_changes ADD PROJECTION IF NOT EXISTS by_person (SELECT * ORDER BY (tenant, subject_id, consent_version));
ALTER TABLE consent_changes MATERIALIZE PROJECTION by_person;
ALTER TABLE consent_changes DROP PROJECTION IF EXISTS by_subject;
