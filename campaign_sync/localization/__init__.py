"""Translations: the catalogues, and the language in which people read alarms, descriptions, checks and metadata.

What belongs here: German sentences, by the English ones in the code. What doesn't: the English ones, which are where
they are used, as `domain.message.Message`; and the texts of reports, which have a catalogue of their own.
"""
