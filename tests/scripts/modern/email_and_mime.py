from email import message_from_bytes, policy
from email.message import EmailMessage


def main():
    message = EmailMessage()
    message["Subject"] = "Grüße"
    message["From"] = "ada@example.com"
    message["To"] = "bo@example.com"
    message.set_content("Hello Bo")
    message.add_attachment("a,b\n1,2\n", subtype="csv", filename="data.csv")
    parsed = message_from_bytes(bytes(message), policy=policy.default)
    return {
        "subject": str(parsed["subject"]),
        "to": str(parsed["to"]),
        "parts": [part.get_content_type() for part in parsed.iter_parts()],
        "body": parsed.get_body().get_content(),
        "attachment": next(parsed.iter_attachments()).get_content(),
    }
