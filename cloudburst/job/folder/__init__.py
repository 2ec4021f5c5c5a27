"""A folder of pictures, sounds and subtitles → a job."""
