"""What people see: functions that turn results into lines. Only the task layer prints them."""
