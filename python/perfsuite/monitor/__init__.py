"""``perfsuite monitor``: a target watched for days, what came of it kept in bounded room, and alarms told."""
