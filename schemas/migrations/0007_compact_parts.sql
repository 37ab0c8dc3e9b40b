-- A part of up to 256 MiB, before compression, is two files instead of two for each column: an insert creates and
-- fsyncs a hundred files less in each partition. Merges make wide parts of what is larger.
ALTER TABLE events MODIFY SETTING min_bytes_for_wide_part = 268435456;
