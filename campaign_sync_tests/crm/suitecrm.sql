-- The tables of SuiteCRM 7.15 that the preset reads, with the columns that the product's vardefs name.
CREATE TABLE accounts (
    id char(36) NOT NULL PRIMARY KEY, name varchar(150), date_entered datetime, date_modified datetime,
    modified_user_id char(36), created_by char(36), description text, deleted tinyint(1) DEFAULT 0,
    assigned_user_id char(36), account_type varchar(50), industry varchar(50), billing_address_street varchar(150),
    billing_address_city varchar(100), billing_address_state varchar(100), billing_address_postalcode varchar(20),
    billing_address_country varchar(255),
    website varchar(255), parent_id char(36), campaign_id char(36)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb3 COLLATE=utf8mb3_general_ci;
CREATE TABLE contacts (
    id char(36) NOT NULL PRIMARY KEY, date_entered datetime, date_modified datetime, modified_user_id char(36),
    created_by char(36), description text, deleted tinyint(1) DEFAULT 0, assigned_user_id char(36),
    salutation varchar(255), first_name varchar(100), last_name varchar(100), title varchar(100), photo varchar(255),
    department varchar(255), do_not_call tinyint(1) DEFAULT 0, phone_home varchar(100), phone_mobile varchar(100),
    phone_work varchar(100), phone_other varchar(100), phone_fax varchar(100), lawful_basis text, date_reviewed date,
    lawful_basis_source varchar(100), primary_address_street varchar(150), primary_address_city varchar(100),
    primary_address_state varchar(100), primary_address_postalcode varchar(20), primary_address_country varchar(255),
    alt_address_street varchar(150), alt_address_city varchar(100), alt_address_state varchar(100),
    alt_address_postalcode varchar(20), alt_address_country varchar(255), assistant varchar(75),
    assistant_phone varchar(100), lead_source varchar(255), reports_to_id char(36), birthdate date,
    campaign_id char(36), joomla_account_id varchar(255), portal_account_disabled tinyint(1),
    portal_user_type varchar(100) DEFAULT 'Single'
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb3 COLLATE=utf8mb3_general_ci;
CREATE TABLE leads (
    id char(36) NOT NULL PRIMARY KEY, date_entered datetime, date_modified datetime, modified_user_id char(36),
    created_by char(36), description text, deleted tinyint(1) DEFAULT 0, assigned_user_id char(36),
    salutation varchar(255), first_name varchar(100), last_name varchar(100), title varchar(100), photo varchar(255),
    department varchar(100), do_not_call tinyint(1) DEFAULT 0, phone_home varchar(100), phone_mobile varchar(100),
    phone_work varchar(100), phone_other varchar(100), phone_fax varchar(100), lawful_basis text, date_reviewed date,
    lawful_basis_source varchar(100), primary_address_street varchar(150), primary_address_city varchar(100),
    primary_address_state varchar(100), primary_address_postalcode varchar(20), primary_address_country varchar(255),
    alt_address_street varchar(150), alt_address_city varchar(100), alt_address_state varchar(100),
    alt_address_postalcode varchar(20), alt_address_country varchar(255), assistant varchar(75),
    assistant_phone varchar(100), converted tinyint(1) DEFAULT 0, refered_by varchar(100), lead_source varchar(100),
    lead_source_description text, status varchar(100), status_description text, reports_to_id char(36),
    account_name varchar(255), account_description text, contact_id char(36), account_id char(36),
    opportunity_id char(36), opportunity_name varchar(255), opportunity_amount varchar(50), campaign_id char(36),
    birthdate date, portal_name varchar(255), portal_app varchar(255), website varchar(255)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb3 COLLATE=utf8mb3_general_ci;
CREATE TABLE prospects (
    id char(36) NOT NULL PRIMARY KEY, date_entered datetime, date_modified datetime, modified_user_id char(36),
    created_by char(36), description text, deleted tinyint(1) DEFAULT 0, assigned_user_id char(36),
    salutation varchar(255), first_name varchar(100), last_name varchar(100), title varchar(100), photo varchar(255),
    department varchar(255), do_not_call tinyint(1) DEFAULT 0, phone_home varchar(100), phone_mobile varchar(100),
    phone_work varchar(100), phone_other varchar(100), phone_fax varchar(100), lawful_basis text, date_reviewed date,
    lawful_basis_source varchar(100), primary_address_street varchar(150), primary_address_city varchar(100),
    primary_address_state varchar(100), primary_address_postalcode varchar(20), primary_address_country varchar(255),
    alt_address_street varchar(150), alt_address_city varchar(100), alt_address_state varchar(100),
    alt_address_postalcode varchar(20), alt_address_country varchar(255), assistant varchar(75),
    assistant_phone varchar(100), tracker_key int(11) NOT NULL AUTO_INCREMENT, birthdate date, lead_id char(36),
    account_name varchar(150), campaign_id char(36), KEY prospect_auto_tracker_key (tracker_key)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb3 COLLATE=utf8mb3_general_ci;
CREATE TABLE accounts_contacts (
    id varchar(36) NOT NULL PRIMARY KEY, contact_id varchar(36), account_id varchar(36), date_modified datetime,
    deleted tinyint(1) DEFAULT 0
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb3 COLLATE=utf8mb3_general_ci;
CREATE TABLE email_addresses (
    id char(36) NOT NULL PRIMARY KEY, email_address varchar(255), email_address_caps varchar(255),
    invalid_email tinyint(1) DEFAULT 0, opt_out tinyint(1) DEFAULT 0, confirm_opt_in varchar(255) DEFAULT 'not-opt-in',
    confirm_opt_in_date datetime, confirm_opt_in_sent_date datetime, confirm_opt_in_fail_date datetime,
    confirm_opt_in_token varchar(255), date_created datetime, date_modified datetime, deleted tinyint(1) DEFAULT 0,
    KEY idx_ea_caps_opt_out_invalid (email_address_caps, opt_out, invalid_email),
    KEY idx_ea_opt_out_invalid (email_address, opt_out, invalid_email)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb3 COLLATE=utf8mb3_general_ci;
CREATE TABLE email_addr_bean_rel (
    id char(36) NOT NULL PRIMARY KEY, email_address_id char(36) NOT NULL, bean_id char(36) NOT NULL,
    bean_module varchar(100), primary_address tinyint(1) DEFAULT 0, reply_to_address tinyint(1) DEFAULT 0,
    date_created datetime, date_modified datetime, deleted tinyint(1) DEFAULT 0,
    KEY idx_email_address_id (email_address_id), KEY idx_bean_id (bean_id, bean_module)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb3 COLLATE=utf8mb3_general_ci;
CREATE TABLE prospect_lists (
    id char(36) NOT NULL PRIMARY KEY, name varchar(255), list_type varchar(100), date_entered datetime,
    date_modified datetime, modified_user_id char(36), created_by char(36), assigned_user_id char(36),
    deleted tinyint(1) DEFAULT 0, description text, domain_name varchar(255)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb3 COLLATE=utf8mb3_general_ci;
CREATE TABLE prospect_lists_prospects (
    id varchar(36) NOT NULL PRIMARY KEY, prospect_list_id varchar(36), related_id varchar(36), related_type varchar(25),
    date_modified datetime, deleted tinyint(1) DEFAULT 0,
    KEY idx_plp_pro_id (prospect_list_id, deleted), KEY idx_plp_rel_id (related_id, related_type, prospect_list_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb3 COLLATE=utf8mb3_general_ci
