"""AWS's APIs over HTTP: EC2 and what is asked around it, on top of moto."""
