"""What an account in a cloud lets a stack have; looked at before anything is made."""
